"""The monitoring stack and its constructs: metrics, dashboard, alarms, kill switch. Changes nothing in what it watches."""
