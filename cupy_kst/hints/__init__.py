"""What a refused call may have meant. Only messages are made of this, so that a right call never comes here."""
