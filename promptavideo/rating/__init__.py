"""The user study: people compare videos in pairs and do not know which refiner wrote for which."""
