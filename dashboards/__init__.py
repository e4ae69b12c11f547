"""What a person sees of a study: rows for each picture, pictures, and pages made of them; reads, never writes."""
