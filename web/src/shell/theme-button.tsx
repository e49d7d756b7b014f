/** Switches between the colours of the system, light and dark. */
import { Icon } from './icon.tsx'
import { nextTheme, theme } from './theme.ts'

const icons = { auto: 'auto', light: 'sun', dark: 'moon' } as const

export function ThemeButton() {
  const label = `Colours: ${theme.value}`
  return (
    <button type="button" class="quiet" aria-label={label} title={label} onClick={nextTheme}>
      <Icon name={icons[theme.value]} />
    </button>
  )
}
