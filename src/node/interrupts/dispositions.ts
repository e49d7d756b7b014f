/**
 * What the system does at a signal, where JavaScript cannot decide it: handlers of Node run in its event loop, so they
 * wait while the main thread computes. A signal that is armed resets itself when it arrives (SA_RESETHAND), so until it
 * is armed again the next one ends the process by the system's own action, whatever its threads are doing.
 */
import { addressOf, loadLibrary } from '../../engine/native/ffi.ts'

/** Numbers of SIGINT and SIGTERM, the same on all systems. */
const SIGNALS = [2, 15]

/** Bytes that hold a `struct sigaction`, and in it the offset of `sa_flags`, by system. */
const STRUCT_BYTES = 256
const layouts: Partial<Record<NodeJS.Platform, { readonly flagsAt: number; readonly reset: number }>> = {
  // glibc: the handler, 128 bytes of mask, flags.
  linux: { flagsAt: 136, reset: 0x80000000 },
  // The handler, 4 bytes of mask, flags.
  darwin: { flagsAt: 12, reset: 4 },
}
const layout = layouts[process.platform]

const libc = layout && loadLibrary(null)
const sigaction = libc?.func('sigaction', 'int', ['int', 'uintptr_t', 'uintptr_t'])
const exit = libc?.func('_exit', 'void', ['int'])

/** Actions that hand signals to the event loop, and reset themselves. */
const armed = new Map<number, Uint8Array>()

function currentAction(signal: number): Uint8Array {
  const action = new Uint8Array(STRUCT_BYTES)
  sigaction?.(signal, 0, addressOf(action))
  return action
}

const isDefault = (action: Uint8Array): boolean => new DataView(action.buffer).getBigUint64(0, true) === 0n

/** Arms signals whose handlers Node has installed. Call it after each `process.on`. Does nothing on Windows. */
export function armSignals(): void {
  if (!layout) return
  for (const signal of SIGNALS) {
    const action = currentAction(signal)
    if (isDefault(action)) continue
    const view = new DataView(action.buffer)
    view.setUint32(layout.flagsAt, view.getUint32(layout.flagsAt, true) | layout.reset, true)
    armed.set(signal, action)
    sigaction?.(signal, addressOf(action), 0)
  }
}

/** Arms signals that have arrived. Call it in their handlers. */
export function armAgain(): void {
  for (const [signal, action] of armed) if (isDefault(currentAction(signal))) sigaction?.(signal, addressOf(action), 0)
}

/** Whether an armed signal has arrived, and its handler has not run yet. */
export const hasArrived = (): boolean =>
  layout !== undefined && SIGNALS.some((signal) => isDefault(currentAction(signal)))

/** Ends the process at once; unlike `process.exit`, it waits for no thread. Returns on Windows. */
export function endProcess(code: number): void {
  exit?.(code)
}
