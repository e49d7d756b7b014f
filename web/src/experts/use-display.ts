/** Width, pixel ratio and theme, for a canvas as large as its box. */
import type { RefObject } from 'preact'
import { useLayoutEffect, useState } from 'preact/hooks'

export interface Display {
  /** Width in pixels of the page. */
  readonly width: number
  /** Pixels of the screen per pixel of the page. */
  readonly ratio: number
  readonly dark: boolean
}

/** @param box The element around the canvas. @returns null until it is laid out */
export function useDisplay(box: RefObject<HTMLElement | null>): Display | null {
  const [display, setDisplay] = useState<Display | null>(null)
  useLayoutEffect(() => {
    const element = box.current
    if (!element) return
    const measure = () => {
      const now = { width: element.clientWidth, ratio: devicePixelRatio, dark: isDark(element) }
      setDisplay((old) =>
        old && old.width === now.width && old.ratio === now.ratio && old.dark === now.dark ? old : now,
      )
    }
    measure()
    const sizes = new ResizeObserver(measure)
    sizes.observe(element)
    const theme = new MutationObserver(measure)
    theme.observe(document.documentElement, { attributes: true })
    const preference = matchMedia('(prefers-color-scheme: dark)')
    preference.addEventListener('change', measure)
    addEventListener('resize', measure)
    return () => {
      sizes.disconnect()
      theme.disconnect()
      preference.removeEventListener('change', measure)
      removeEventListener('resize', measure)
    }
  }, [])
  return display
}

/** Whether text is light, no matter whether the page, the system or the user decided so. */
function isDark(element: HTMLElement): boolean {
  const probe = document.createElement('canvas').getContext('2d')
  if (!probe) return false
  probe.fillStyle = getComputedStyle(element).color
  probe.fillRect(0, 0, 1, 1)
  const [red = 0, green = 0, blue = 0] = probe.getImageData(0, 0, 1, 1).data
  return 0.3 * red + 0.6 * green + 0.1 * blue > 127
}
