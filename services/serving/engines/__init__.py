"""The processes that compute answers: started, adopted, watched, and what they hold."""
