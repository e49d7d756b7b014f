/** The theme, light or dark. It follows the system until the user chooses. Code that draws on a canvas reads `dark`. */
import { computed, effect, signal } from '@preact/signals'

const themes = ['auto', 'light', 'dark'] as const
type Theme = (typeof themes)[number]

const key = 'choir.theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const systemIsDark = signal(system.matches)
system.addEventListener('change', () => {
  systemIsDark.value = system.matches
})

export const theme = signal<Theme>(themes.find((each) => each === localStorage.getItem(key)) ?? 'auto')
export const dark = computed(() => (theme.value === 'auto' ? systemIsDark.value : theme.value === 'dark'))

export function nextTheme(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] ?? 'auto'
  localStorage.setItem(key, theme.value)
}

// This effect runs before anything is drawn. The style sheet reads the attribute.
effect(() => {
  document.documentElement.dataset.theme = dark.value ? 'dark' : 'light'
})
