"""What public methods take and give back."""
