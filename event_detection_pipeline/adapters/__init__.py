"""LoRA adapters for Whisper: trained, evaluated, versioned, scored with."""
