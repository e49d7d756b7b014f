/** The theme, light or dark, and its colours for drawing. It follows the system until the user chooses. Code that draws on a canvas reads `scheme`. */
import { computed, effect, signal } from '@preact/signals'
import { categorical, type Scheme } from '../../../src/core/charts/palette.ts'

const themes = ['auto', 'light', 'dark'] as const
type Theme = (typeof themes)[number]

const key = 'choir.theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(system.matches)
system.addEventListener('change', () => {
  systemIsDark.value = system.matches
})

export const theme = signal<Theme>(themes.find((each) => each === stored()) ?? 'auto')
export const scheme = computed<Scheme>(() => {
  if (theme.value !== 'auto') return theme.value
  return systemIsDark.value ? 'dark' : 'light'
})

/** The theme that was chosen last. Some browsers refuse storage, for example to a page from a file. */
function stored(): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

export function nextTheme(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] ?? 'auto'
  try {
    localStorage.setItem(key, theme.value)
  } catch {
    // Without storage, the choice lasts until the page is closed.
  }
}

// This effect runs before anything is drawn. Style sheets read the attribute, and the colours of series.
effect(() => {
  const { dataset, style } = document.documentElement
  dataset.theme = scheme.value
  for (const [i, color] of categorical[scheme.value].entries()) style.setProperty(`--series-${i}`, color)
})

/** Colours of the style sheet, for drawing on a canvas. */
export interface Ink {
  readonly back: string
  readonly text: string
  readonly quiet: string
  readonly grid: string
}

export const ink = computed<Ink>(() => {
  // Reading the theme makes this signal follow it, as the style sheet does.
  void scheme.value
  const style = getComputedStyle(document.documentElement)
  const color = (name: string) => style.getPropertyValue(name).trim()
  return { back: color('--back'), text: color('--text'), quiet: color('--quiet'), grid: color('--grid') }
})
