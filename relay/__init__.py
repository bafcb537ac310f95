"""A self-hosted SMTP relay: any app's mail in, policy, DKIM, durable queue, MX delivery out."""

__version__ = "0.1.0"
