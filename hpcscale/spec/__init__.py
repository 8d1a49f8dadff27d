"""What a person wrote: machines, devices, models, layouts, studies and settings, typed and validated."""
