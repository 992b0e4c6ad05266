"""What leaves the service by itself: signed webhooks, alarms, metrics, exports, its log, and the audit's daily head."""
