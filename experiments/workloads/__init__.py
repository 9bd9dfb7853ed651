"""What is computed: layers of published networks, pictures and digits, small networks that train."""
