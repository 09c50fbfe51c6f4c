"""Data Staging: uploads images for jobs, one by one or in archives."""
