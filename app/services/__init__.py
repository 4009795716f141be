"""The use cases: one public function per verb. Order and rules; no HTTP, no SQL, no torch."""
