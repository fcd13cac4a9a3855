//! Limits of the settings, and which go together.

use super::{Config, ConfigError, InventorySetting, is_host_name, public_host};

impl Config {
    /// Checks limits and combinations.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first setting that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |setting: &'static str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                let reason = format!("{value} is outside of {least} to {most}");
                Err(ConfigError::Value { setting, reason })
            }
        };
        range("interval_s", self.interval_s, 1, 86_400)?;
        range("traces.one_in", self.traces.one_in, 1, 1_000_000)?;
        if let Some(endpoint) = &self.traces.otlp_endpoint {
            crate::traces::check_endpoint(endpoint)?;
        }
        if let Some(silence) = self.silence_limit_s {
            range("silence_limit_s", silence, self.interval_s.saturating_add(1), 30 * 86_400)?;
        }
        if let Some(lifetime) = self.tokens.lifetime_s {
            range("tokens.lifetime_s", lifetime, 60, 3600)?;
        }
        if self.tokens.audience.is_empty() || self.tokens.audience.len() > 256 {
            let reason = "must have 1 to 256 bytes".to_owned();
            return Err(ConfigError::Value { setting: "tokens.audience", reason });
        }
        range("alerts.reopen_window_s", self.alerts.reopen_window_s, 0, 90 * 86_400)?;
        range("notifications.give_up_s", self.notifications.give_up_s, 3600, 30 * 86_400)?;
        range("notifications.retention_s", self.notifications.retention_s, 86_400, 400 * 86_400)?;
        range("learn_boots", self.learn_boots, 1, 64)?;
        range("posture.ca_warning_days", self.posture.ca_warning_days, 1, 3650)?;
        range("posture.sweep_interval_s", self.posture.sweep_interval_s, 60, 86_400)?;
        if let Some(revision) = &self.posture.dbx_revision
            && !veriboot_posture::DBX_REVISIONS.iter().any(|known| known.date == revision)
        {
            let known: Vec<&str> = veriboot_posture::DBX_REVISIONS.iter().map(|known| known.date).collect();
            let reason = format!("must be one of {}", known.join(", "));
            return Err(ConfigError::Value { setting: "posture.dbx_revision", reason });
        }
        if self.posture.sbat_level.is_some_and(|level| !(1_000_000_000..=9_999_999_999).contains(&level)) {
            let reason = "must have ten digits, such as 2024010900".to_owned();
            return Err(ConfigError::Value { setting: "posture.sbat_level", reason });
        }
        if self.posture.agent_version.as_ref().is_some_and(|v| veriboot_posture::is_older(v, v).is_none()) {
            let reason = "must be numbers and dots, such as 1.2.3".to_owned();
            return Err(ConfigError::Value { setting: "posture.agent_version", reason });
        }
        range("limits.connections", self.limits.connections, 16, 1_000_000)?;
        range("limits.requests", self.limits.requests, 4, 1_000_000)?;
        range("limits.header_timeout_s", self.limits.header_timeout_s, 1, 600)?;
        range("limits.request_timeout_s", self.limits.request_timeout_s, 1, 3600)?;
        range("limits.stop_timeout_s", self.limits.stop_timeout_s, 1, 600)?;
        range("limits.evidence_burst", self.limits.evidence_burst, 4, 1_000_000)?;
        range("limits.evidence_refill_s", self.limits.evidence_refill_s, 1, 3600)?;
        range("limits.evidence_mib", self.limits.evidence_mib, 16, 1_048_576)?;
        range("limits.streams_per_token", self.limits.streams_per_token, 1, 256)?;
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            let (setting, other) =
                if self.tls.cert.is_some() { ("tls.cert", "tls.key") } else { ("tls.key", "tls.cert") };
            return Err(ConfigError::Value { setting, reason: format!("needs {other} beside it") });
        }
        if self.tls.ca.is_some() && self.tls.cert.is_none() {
            let reason = "only goes with tls.cert; the self-made CA is in data_dir".to_owned();
            return Err(ConfigError::Value { setting: "tls.ca", reason });
        }
        for name in &self.tls.names {
            if name.parse::<std::net::IpAddr>().is_err() && !is_host_name(name) {
                let reason = format!("{name:?} is neither a host name nor an IP address");
                return Err(ConfigError::Value { setting: "tls.names", reason });
            }
        }
        range("inventory.interval_s", self.inventory.interval_s, 10, 86_400)?;
        let mut names = std::collections::BTreeSet::new();
        for text in &self.inventory.sources {
            let read = InventorySetting::read(text)
                .map_err(|reason| ConfigError::Value { setting: "inventory.sources", reason })?;
            if !names.insert(read.name.clone()) {
                let reason = format!("{:?} is there twice", read.name);
                return Err(ConfigError::Value { setting: "inventory.sources", reason });
            }
        }
        for group in &self.measured_only_groups {
            if !crate::api::is_name(group) {
                let reason = format!("{group:?} is not 1 to 63 characters of A-Z a-z 0-9 . _ -");
                return Err(ConfigError::Value { setting: "measured_only_groups", reason });
            }
        }
        if let Some(url) = &self.database
            && !["sqlite:", "postgres://", "postgresql://"].iter().any(|p| url.starts_with(p))
        {
            let reason = "must start with sqlite:, postgres:// or postgresql://".to_owned();
            return Err(ConfigError::Value { setting: "database", reason });
        }
        if let Some(url) = &self.public_url
            && public_host(url).is_none()
        {
            let reason = format!("{url:?} is not of the form https://HOST[:PORT]");
            return Err(ConfigError::Value { setting: "public_url", reason });
        }
        Ok(())
    }
}
