/** Style of a run's lines and swatch, the same everywhere. */
import { computed } from '@preact/signals'
import { assignStyles, type LineStyle } from '../line-styles.ts'
import { scheme } from '../shell/theme.ts'
import { runs } from '../store.ts'

const styles = computed(() => assignStyles(runs.value, scheme.value))

export const styleOf = (run: string): LineStyle => styles.value.get(run) ?? { color: '#888888', dash: [] }
