import { RuntimeError } from './contract.ts'

/**
 * When something that native code uses is freed: once it is released, and nothing uses it any more. Releasing it
 * during a run therefore takes effect when the run ends.
 */
export class Lifetime {
  private readonly name: string
  private readonly free: () => void
  private uses = 0
  private released = false

  /**
   * @param name What an error calls it: executable, binding.
   * @param free Called once.
   */
  constructor(name: string, free: () => void) {
    this.name = name
    this.free = free
  }

  /** @throws RuntimeError when it has been released */
  expectUsable(): void {
    if (this.released) throw new RuntimeError(`internal: this ${this.name} has been released`)
  }

  /** @throws RuntimeError when it has been released or is in use, since no two runs of a binding may overlap */
  expectIdle(): void {
    this.expectUsable()
    if (this.uses > 0) throw new RuntimeError(`internal: this ${this.name} is already running`)
  }

  /** It is not freed before {@link end} has been called as often. */
  begin(): void {
    this.uses++
  }

  end(): void {
    this.uses--
    this.freeWhenIdle()
  }

  /** Idempotent. */
  release(): void {
    if (this.released) return
    this.released = true
    this.freeWhenIdle()
  }

  private freeWhenIdle(): void {
    if (this.released && this.uses === 0) this.free()
  }
}
