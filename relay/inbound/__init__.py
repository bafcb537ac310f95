"""Mail coming in: listeners, the SMTP conversation, who may send what."""
