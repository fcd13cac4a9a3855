//! Measured-boot event logs: structure, typed events, replay, boot story.
