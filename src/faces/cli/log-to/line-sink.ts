/** The receiver of the lines of `--log-to`: a command, or an address on this machine. */
export interface LineSink {
  /**
   * Delivers a line, which includes its line break. Waits until the receiver takes it.
   * @throws Error if the line cannot be delivered
   */
  send(line: string): Promise<void>
  /**
   * Ends the receiver after the last line, and waits for a limited time until it has ended.
   * @throws Error if the receiver failed or did not end in time
   */
  close(): Promise<void>
}
