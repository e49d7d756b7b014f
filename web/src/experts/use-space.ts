/** The space bar as the key that plays and pauses. */
import { useEffect } from 'preact/hooks'

/** Handles the space bar, except where it has another meaning. */
export function useSpace(act: () => void): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      const isFree =
        target instanceof HTMLInputElement
          ? target.type === 'range'
          : !target.closest('button, select, textarea, a, dialog')
      if (event.key !== ' ' || !isFree || event.defaultPrevented) return
      event.preventDefault()
      act()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}
