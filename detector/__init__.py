"""A compact YOLOv3 trainer; knows nothing of studies, Optuna, Ray, SQL or the command line."""
