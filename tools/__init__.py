"""Commands for those who work on the project; the server never imports them."""
