"""The papers' own problems and tables, with our learners: is each one the method that its paper describes?"""
