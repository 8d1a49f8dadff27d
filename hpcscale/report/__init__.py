"""What people read: scaling tables and charts."""
