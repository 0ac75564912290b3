"""Long commands that wait for one another and outlive the page that asked for them."""
