"""The monitoring stack and its constructs: metrics, dashboard, alarms, kill switch. Only the kill switch
changes anything in what it watches."""
