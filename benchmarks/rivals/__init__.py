"""Other ways to put jobs behind HTTP, each as its own documentation recommends for throughput."""
