"""The stand-in's Batch Processing: jobs, what they compute, and their endpoints."""
