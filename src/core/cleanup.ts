/** Closes what was opened, in reverse order, whether or not an error occurred. */
export class Cleanup {
  private readonly actions: (() => void | Promise<void>)[] = []

  defer(action: () => void | Promise<void>): void {
    this.actions.push(action)
  }

  /** Runs every action even if one fails. @throws the first failure */
  async run(): Promise<void> {
    const failures: unknown[] = []
    for (const action of this.actions.splice(0).reverse())
      try {
        await action()
      } catch (error) {
        failures.push(error)
      }
    if (failures.length > 0) throw failures[0]
  }
}
