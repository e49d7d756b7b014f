/** Where the lines of `--log-to` go: a command, or an address on this machine. */
export interface LineSink {
  /** Delivers a line with its line break. Waits as long as the receiver does not take it. @throws Error if it cannot */
  send(line: string): Promise<void>
  /** Ends the receiver after the last line, and waits until it has ended, for a limited time. @throws Error if it failed */
  close(): Promise<void>
}
