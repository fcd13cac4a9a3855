//! Which virtual machines exist, and what is configured for them: reads what clouds, hypervisors and people write.
