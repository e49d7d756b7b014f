/** Colours of the style sheet, for drawing on a canvas. */
import { computed } from '@preact/signals'
import { scheme } from '../../shell/theme.ts'
import type { Ink } from './figure.ts'

export const ink = computed<Ink>(() => {
  // Reading the theme makes this signal follow it, as the style sheet does.
  void scheme.value
  const style = getComputedStyle(document.documentElement)
  const color = (name: string) => style.getPropertyValue(name).trim()
  return { back: color('--back'), text: color('--text'), quiet: color('--quiet'), grid: color('--grid') }
})
