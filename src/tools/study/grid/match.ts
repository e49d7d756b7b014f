/**
 * Arms that cost as much as another arm. `match: { equal: activeParameters, of: top-1, by: model.hidden }` leaves one
 * whole number of an arm open, and the study solves for it (`solve-matches.ts`): of all values that the schema accepts, it
 * takes the value whose active parameters come nearest to those of the other arm. The difference that remains, because
 * the number is whole, is the *mismatch*.
 *
 * Quantities follow from configurations alone. So a value is the same on every machine and at every start of a study,
 * and the runs of the arm keep their keys. The seconds of a step are no such quantity.
 */
import { z } from 'zod'
import { quantities } from '../contract.ts'

export const matchSchema = z.strictObject({
  /** The quantity that both arms have in common. */
  equal: z.enum(quantities).meta({
    refused: {
      seconds:
        'the seconds of a step depend on the machine, so the arm would have another size on every machine; measure both arms with timings, and set the field of the arm yourself',
    },
  }),
  /** The other arm; default: the baseline of the arm. */
  of: z.string().min(1).optional(),
  /** Path of the whole number that is solved for; default: the hidden width of the experts, or of a dense model. */
  by: z.string().min(1).optional(),
})
export type MatchSpecification = z.output<typeof matchSchema>
