"""What `optix-tricks` says of itself: alone, and with --help."""

LESSON = """\
Networks trained with tricks that are proven and measured. To begin:

  optix-tricks train digits             a small ResNet, half a minute, 98 %
  optix-tricks runs                     your runs and what each came to
  optix-tricks diagnose run RUN         what holds a run back, with evidence

Every trick and every number of a recipe is a flag:

  optix-tricks tricks                   over a hundred; tricks mixup shows one
  optix-tricks train digits --with mixup=0.2 --without crop --epochs 20
  optix-tricks show digits --with sam   what a recipe and flags come to

With a network and data of your own:

  optix-tricks new mine.py              a recipe to change, which runs as it is
  optix-tricks lr-find ./mine.py        which learning rate it wants
  optix-tricks train ./mine.py

list has all recipes, --help all commands; behind a command, its options.
"""

USAGE = """\
usage: optix-tricks list                             the recipes and what they claim
       optix-tricks runs [DIR] [--sort NUMBER]       your runs and what each came to
       optix-tricks show RECIPE [--with TRICK ...]   its network, tricks and numbers
       optix-tricks train RECIPE [--with TRICK ...]  train one; --help for its numbers
       optix-tricks train ./mine.py [...]            train your own; so by dotted name
       optix-tricks train RECIPE --from RUN          begin with the weights of a run
       optix-tricks train RECIPE --config FILE       with the settings of another run
       optix-tricks train --resume RUN [--epochs N]  continue it, or train it for longer
       optix-tricks evaluate RUN [--dataset NAME]    test a run, on other data too
       optix-tricks predict RUN FILE...              say what is in pictures or arrays
       optix-tricks export RUN DIR                   write it for other programs
       optix-tricks new mine.py                      write a recipe of your own to start
       optix-tricks tricks [NAME]                    all tricks by slot; or one's card
       optix-tricks lr-find RECIPE [--with TRICK]    test its learning rates
       optix-tricks ablate RECIPE [--tricks A,B=0.2] what each trick buys
       optix-tricks sweep RECIPE --NUMBER 0.1,0.3    the best of several numbers
       optix-tricks compile RECIPE --for v5e:4x4     what a step costs there; not run
       optix-tricks diagnose run RUN [--probe]       say what a run suffers from
       optix-tricks diagnose curvature RUN           a saddle, a minimum? how sharp?
       optix-tricks diagnose weight-norm             Page's experiments on weight decay
       optix-tricks report RUN                       draw a run's page again
       optix-tricks report RUN RUN...                a page on several, side by side
       optix-tricks completion bash                  let your shell complete all this
       optix-tricks --version                        --help behind a command: its options
"""
