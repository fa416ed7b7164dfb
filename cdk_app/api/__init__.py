"""The API for clients that know only a bearer: REST API, authorizers, refusals and domain. Knows neither OpenAI nor limits."""
