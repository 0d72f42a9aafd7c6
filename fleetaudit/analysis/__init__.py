"""Pure analysis of audited hosts: findings, comparison, drift, policy and remediation."""
