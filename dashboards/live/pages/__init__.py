"""The frame of each page: its heading and controls; what stands inside is made of panels."""
