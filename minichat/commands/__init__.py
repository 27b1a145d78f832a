"""What each command does with what a person gives: one module for each kind of work. `minichat.cli` joins them."""
