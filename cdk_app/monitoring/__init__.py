"""The monitoring stack and its constructs: metrics, dashboard, alarms, spend watch. Only the spend watch
changes anything in what it watches."""
