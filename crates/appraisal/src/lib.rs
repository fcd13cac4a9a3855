//! Findings, baselines and the appraisal of evidence.
