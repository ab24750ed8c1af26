"""What is to be here before anybody asks for it: wanted lists, and what fetches and keeps them."""
