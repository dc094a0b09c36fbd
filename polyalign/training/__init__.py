"""SFT, Bucket-SFT, DPO and HDPO: recipes, losses, TRL's trainers extended by them, and resumable runs."""
