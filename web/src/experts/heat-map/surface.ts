/** A canvas as large as its box, on a screen of any density, in the theme that is on. */
import type { RefObject } from 'preact'
import { useLayoutEffect, useState } from 'preact/hooks'

export interface Surface {
  /** In pixels of the page. */
  readonly width: number
  /** Pixels of the screen in one of the page. */
  readonly ratio: number
  readonly dark: boolean
}

/** Of the box that holds the canvas; null until it is laid out. Changes with its width, the zoom and the theme. */
export function useSurface(box: RefObject<HTMLElement | null>): Surface | null {
  const [surface, setSurface] = useState<Surface | null>(null)
  useLayoutEffect(() => {
    const element = box.current
    if (!element) return
    const measure = () => {
      const now = { width: element.clientWidth, ratio: devicePixelRatio, dark: isDark(element) }
      setSurface((old) =>
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
  return surface
}

/** Whether text is light, whoever decided that: the page, the system or the reader. */
function isDark(element: HTMLElement): boolean {
  const probe = document.createElement('canvas').getContext('2d')
  if (!probe) return false
  probe.fillStyle = getComputedStyle(element).color
  probe.fillRect(0, 0, 1, 1)
  const [red = 0, green = 0, blue = 0] = probe.getImageData(0, 0, 1, 1).data
  return 0.3 * red + 0.6 * green + 0.1 * blue > 127
}
