/**
 * Places of experts along the positions of a sequence: `kept-in-buckets` of src/core/graph/ops/routing.ts. The graph composes
 * maps in log₂ S passes over memory; here an invocation goes through the positions of one expert, and keeps its buckets
 * in registers.
 */
import { gridOf, type Kernel, linearMain, type Operand } from '../../contract.ts'
import { dispatchOf } from '../dispatch.ts'

/** Positions whose numbers are loaded together, since loads take long and do not depend on the buckets. */
const BATCH = 8

/** With few experts, small workgroups spread over more cores. */
const SIZE = 32

/**
 * Inputs wanted [G, K, S, N], earned [S, N]; outputs kept and ahead [G, K, S, N], totals of wanted and of kept [G, N],
 * all int32.
 */
export const keptInBuckets: Kernel = {
  lower({ attributes, inputs }) {
    const [groups = 0, ranks = 0, sequence = 0, experts = 0] = (inputs[0] as Operand).shape
    const { maxSaved, start } = attributes as { maxSaved: number; start: readonly number[] }
    const count = groups * experts
    if (count * sequence * ranks === 0) return { dispatches: [] }
    return {
      dispatches: [
        dispatchOf({
          name: 'kept-in-buckets',
          operands: {
            wanted: { input: 0 },
            earned: { input: 1 },
            kept: { output: 0 },
            ahead: { output: 1 },
            all_wanted: { output: 2 },
            all_kept: { output: 3 },
          },
          workgroups: gridOf(count, SIZE),
          code: ({ wanted, earned, kept, ahead, all_wanted, all_kept }) => `
${linearMain(count, SIZE)} {
  let g = i32(index) / ${experts};
  let n = i32(index) % ${experts};
  var saved = array<i32, ${ranks}>(${start.join(', ')});
  // Places that choices of each rank get at a position: those of later ranks overflowed at the position before.
  var income = array<i32, ${ranks}>();
  var wanted_before = 0;
  var kept_before = 0;
  for (var first = 0; first < ${sequence}; first += ${BATCH}) {
    let end = min(${BATCH}, ${sequence} - first);
    var wanted_here = array<i32, ${BATCH * ranks}>();
    var earned_here = array<i32, ${BATCH}>();
    for (var i = 0; i < end; i++) {
      earned_here[i] = ${earned}[(first + i) * ${experts} + n];
      for (var rank = 0; rank < ${ranks}; rank++) {
        wanted_here[i * ${ranks} + rank] = ${wanted}[((g * ${ranks} + rank) * ${sequence} + first + i) * ${experts} + n];
      }
    }
    for (var i = 0; i < end; i++) {
      income[0] = earned_here[i];
      var passed_on = 0;
      for (var rank = 0; rank < ${ranks}; rank++) {
        let at = ((g * ${ranks} + rank) * ${sequence} + first + i) * ${experts} + n;
        let has = saved[rank] + income[rank];
        let kept_here = min(wanted_here[i * ${ranks} + rank], has);
        saved[rank] = min(${maxSaved}, has - kept_here);
        ${kept}[at] = kept_here;
        ${ahead}[at] = kept_before;
        wanted_before += wanted_here[i * ${ranks} + rank];
        kept_before += kept_here;
        income[rank] = passed_on;
        passed_on = has - kept_here - saved[rank];
      }
    }
  }
  ${all_wanted}[index] = wanted_before;
  ${all_kept}[index] = kept_before;
}`,
        }),
      ],
    }
  },
}
