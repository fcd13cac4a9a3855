//! Is a virtual machine configured as it should be? Checks, assessments, recommendations and the score.
