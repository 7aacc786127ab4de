"""The load goals: what the real server does under many requests, each line beside what it must and should reach."""
