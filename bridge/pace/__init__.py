"""Rate limits: the arithmetic of sliding windows, and the gate where calls wait for their slot."""
