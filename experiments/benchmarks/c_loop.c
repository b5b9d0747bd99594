// The physics limit: threads looping mj_step over resident mjData, with no Python in between.

#include <mujoco/mujoco.h>
#include <pthread.h>
#include <string.h>

typedef struct {
  const mjModel* model;
  mjData** worlds;  // all worlds
  int first, last;  // this thread's share of them
  int num_worlds, num_steps, substeps;
  const mjtNum* ctrl;  // (num_steps, num_worlds, nu)
} Share;

static void* play(void* argument) {
  const Share* share = argument;
  const int nu = share->model->nu;
  for (int t = 0; t < share->num_steps; t++) {
    for (int i = share->first; i < share->last; i++) {
      mjData* world = share->worlds[i];
      const mjtNum* row = share->ctrl + ((size_t)t * share->num_worlds + i) * nu;
      memcpy(world->ctrl, row, nu * sizeof(mjtNum));
      for (int k = 0; k < share->substeps; k++) mj_step(share->model, world);
    }
  }
  return NULL;
}

// Play num_steps controls in every world, `substeps` physics steps each, on num_threads threads (at
// most 64) of equal static shares; the caller's is one of them. Returns 0, or 1 if a thread could
// not be started (its share is then played by the caller).
int play_worlds(const mjModel* model, mjData** worlds, int num_worlds, int num_steps, int substeps,
                const mjtNum* ctrl, int num_threads) {
  enum { MAX_THREADS = 64 };
  pthread_t threads[MAX_THREADS];
  Share shares[MAX_THREADS];
  int started[MAX_THREADS] = {0};
  int failed = 0;
  if (num_threads > MAX_THREADS) num_threads = MAX_THREADS;
  for (int j = 0; j < num_threads; j++) {
    shares[j] = (Share){model,      worlds,    num_worlds * j / num_threads,
                        num_worlds * (j + 1) / num_threads, num_worlds, num_steps, substeps, ctrl};
    started[j] = j > 0 && !pthread_create(&threads[j], NULL, play, &shares[j]);
    failed |= j > 0 && !started[j];
  }
  for (int j = 0; j < num_threads; j++) {
    if (!started[j]) play(&shares[j]);
  }
  for (int j = 0; j < num_threads; j++) {
    if (started[j]) pthread_join(threads[j], NULL);
  }
  return failed;
}
