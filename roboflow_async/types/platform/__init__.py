"""What the platform tells: of jobs, deployments, a workspace, and what a job would take."""
