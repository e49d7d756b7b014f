/** Sizes in pixels that the user set by dragging an edge. This browser keeps them, since they depend on its screen. */
import { effect, type Signal, signal } from '@preact/signals'

const key = 'choir.sizes'

/** Sizes by the name of their element; default sizes are left out. */
export const sizes: Signal<Readonly<Record<string, number>>> = signal(sizesIn(localStorage.getItem(key)))

effect(() => {
  const text = JSON.stringify(sizes.value)
  try {
    localStorage.setItem(key, text)
  } catch {
    // Without storage, sizes last until the page is closed.
  }
})

export function resize(name: string, pixels: number): void {
  sizes.value = { ...sizes.value, [name]: pixels }
}

export function resetSize(name: string): void {
  const { [name]: _, ...others } = sizes.value
  sizes.value = others
}

/** Parses stored sizes; values that are no sizes are left out. */
export function sizesIn(text: string | null): Readonly<Record<string, number>> {
  try {
    const stored: unknown = JSON.parse(text ?? '{}')
    if (typeof stored !== 'object' || stored === null) return {}
    return Object.fromEntries(
      Object.entries(stored).filter(([, value]) => Number.isFinite(value) && value > 0 && value < 10_000),
    )
  } catch {
    return {}
  }
}
